"""Looking at a gateway that runs: who gets in where, what it does with requests that nobody should
send, what its answers give away, and whether its guards see somebody who takes the model apart.
"""
