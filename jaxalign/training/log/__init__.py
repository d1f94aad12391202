"""What a run tells: metrics, bars, plots, mirrors, time by phase."""
