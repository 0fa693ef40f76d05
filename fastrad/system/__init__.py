"""What every room needs of the machine: cores, memory, files, processes, progress, devices. Knows no other room."""
