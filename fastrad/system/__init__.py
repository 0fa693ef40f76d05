"""What every room needs of the machine. Knows no other room.

cores.py, memory.py   what this process may use; limits.py: of containers and jobs
files.py              whole files or none, free space; place.py: a folder or a URL; csv_file.py: tables
processes.py          worker processes and Ctrl-C
progress.py           bars and lines on stderr
devices.py            which GPU, and small arrays onto it
"""
