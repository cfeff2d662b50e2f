"""The fault table: real servers under steady load, and one fault at a time.

world.py starts the servers, load.py is the load, faults/ has the faults, table.py the promises, and trial.py compares
both. `make chaos` runs the table (dev/bench/chaos.py); farmlokal/tests/test_faults.py runs a short form of it.
"""
