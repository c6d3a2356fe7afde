"""Plots of stars.

``star`` draws them with matplotlib, whose import takes 0.4 s of CPU: import it only to draw. ``gallery`` chooses plots
for the report, without matplotlib.
"""
