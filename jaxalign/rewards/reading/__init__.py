"""What texts say: answers, numbers, formulas, verdicts, and that one does not know."""
