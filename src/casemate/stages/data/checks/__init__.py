"""Is this the table that it should be: rules, units, drift, leakage, the split. One file a
question; `report.py` shows the answers.
"""
