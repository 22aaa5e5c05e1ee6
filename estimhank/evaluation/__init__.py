"""Many evaluations of a target: worker processes, the store that survives kills, the recorder that joins them."""
