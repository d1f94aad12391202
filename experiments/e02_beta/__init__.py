"""The slope of the frontier is β, and DPO ends where its β says."""
