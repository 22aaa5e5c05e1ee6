"""The integral of a log density: bridge sampling, and other estimates to hold beside it (``docs/evidence.md``)."""
