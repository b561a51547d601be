"""Lightning callbacks that every run or an optional recipe needs."""
