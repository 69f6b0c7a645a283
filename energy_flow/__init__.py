"""EnergyFlow: a lattice through which energy flows travel, carried by one shared GRU."""
