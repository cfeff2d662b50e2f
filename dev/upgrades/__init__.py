"""What lets new migrations run beside the release before: its state, and rules that the gate checks."""
