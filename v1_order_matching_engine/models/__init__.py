"""What goes in and what rests: commands, orders and the words they are made of."""
