"""The demo model: a tiny mixture-of-experts model that really does three text tasks, and what makes it."""
