# Stop the program where a map has become mostly empty: nothing but a breakpoint's condition.
#
# Usage, after gomapscope.py: put the place and the map of your program below, or type these
# lines at the prompt, then
#
#     (gdb) source PATH/gdb-scripts/stop-when-sparse.gdb
#     (gdb) run
#
# The functions: $_go_map_len, $_go_map_holes, $_go_map_hole_density, $_go_map_empty_density,
# $_go_map_reclaimable; see `help function'.  Where the map is a local that escaped to the heap,
# give its name as a string: $_go_map_empty_density("m").

break main.stop if $_go_map_empty_density(main.cache) > 0.2
commands
  go-map-stats main.cache
end
