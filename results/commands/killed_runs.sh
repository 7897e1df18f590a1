python tests/launch/random_kills.py --out=killed_runs.csv
