"""What `broker.py` stands on. From top to bottom:

guardians   what guardians may say: retained, stale, seen before, signed
link        one connection from its beginning to its end, over paho-mqtt
reasons     why there is no connection, in words
"""
