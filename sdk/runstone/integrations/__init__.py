"""Callbacks and loggers for the libraries that train: one module each, which imports its library when it is imported.

Each takes the run to write to; without one it writes to the active run of the process, and starts one when there is
none. Settings that a library hands over are masked as the command line is. Numbers go to the run as they come.
"""
