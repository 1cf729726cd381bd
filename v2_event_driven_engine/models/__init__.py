"""The words of the trade: enumerations, the resting order, the order lifecycle."""
