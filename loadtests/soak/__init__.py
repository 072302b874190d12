"""A long run with faults and callers who leave: does anything grow, get lost or come twice?"""
