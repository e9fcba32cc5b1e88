"""In and out: files of predictions that were made elsewhere, and of results for tools that look elsewhere. Values in, values out.

Nothing here knows a project. pyarrow, h5py and scipy are loaded only for the files that need them.
"""
