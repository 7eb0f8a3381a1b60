"""Services as others write them, to measure ours against; they log, check and count nothing."""
