"""What several tests share: small trainings, comparison bit for bit, the digits, runs of the command line."""
