"""Pictures of stars.

``star`` draws them and needs matplotlib, whose import takes some 0.4 s of CPU: import it where pictures are drawn and
nowhere else. ``gallery`` chooses those that the report shows, and needs none of that.
"""
