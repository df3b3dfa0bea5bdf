"""From what the microphone delivers to a Decision, without giving up. From top to bottom:

thread      the listening thread: from what is heard, step by step, to whoever acts on it
alone       the same in a command's own thread, where no service runs
listening   reopens a microphone that was lost, looks anew
road        Chunk -> Decision, for run, replay and bench alike
gate        spares the network while only the room's noise is there
"""
