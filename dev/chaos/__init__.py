"""The fault table: real servers under steady load, and one fault at a time.

world.py starts the servers, and load.py is the load. faults/ has the faults, and table.py the promises. trial.py runs a
row, and verdict.py says what broke its promise. `make chaos` runs the table (dev/bench/chaos.py);
farmlokal/tests/test_faults.py runs a short form of it.
"""
