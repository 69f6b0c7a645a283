"""What tests of supervised code need: time that can be moved by hand."""
