"""What a run will cost, before it begins: from the conversations, earlier runs and prices, with a range."""
