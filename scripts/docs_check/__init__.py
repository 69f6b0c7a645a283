"""What the pages say of commands, files and keys, held against the program: one module for each kind of thing."""
