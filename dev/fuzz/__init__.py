"""Parts of make fuzz: hostile requests to a whole service. dev/bench/fuzz.py sends them."""
