"""A long run with faults and callers who leave, to see that nothing grows, is lost or comes twice."""
