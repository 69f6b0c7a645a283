"""EnergyFlow: a lattice through which energy flows travel, carried by one shared recurrent cell."""
