"""What ``main.py`` offers on the command line."""
