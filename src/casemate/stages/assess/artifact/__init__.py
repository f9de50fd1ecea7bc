"""Model files from outside: looked at without executing anything, then converted into safe formats
in the sandbox.

`scan` tells what a file is and what is in it; `pickled` reads pickles with inert stand-ins;
`convert` is the only place where one is loaded, under the same list, in a process without network,
files or keys.
"""
