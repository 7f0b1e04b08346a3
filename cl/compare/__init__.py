"""An honest comparison in one command: rows times seeds, each cell an ordinary run.

`plan.py` reads what is compared, `words.py` parses its rows, and `work.py` carries it out:
`cells.py` knows a cell's folder and state, `runner.py` starts what is missing, `table.py` collects
the numbers and `statistics.py` says what they show.
"""
