"""The formats that a conversion writes, one module each: encoded images to pages or tars, records to the finished
file.
"""
