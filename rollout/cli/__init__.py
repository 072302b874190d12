"""`glidepath rollout ...`: a thin client of the operator API."""
