"""The order book, the rules, and the engine that puts one lock around both."""
