"""`glidepath demo` and `glidepath up`: the whole system as child processes, driven and judged from outside."""
