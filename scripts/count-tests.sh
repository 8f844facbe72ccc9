#!/bin/bash
# Reads the output of test programs on stdin, and prints "N passed, N failed,
# N skipped": the sum of libtest's result lines. A test that found at run time
# that it cannot run here says SKIPPED and passes; it counts as skipped.
exec awk '
/^test result:/ {
	for (i = 1; i < NF; i++) {
		if ($(i + 1) ~ /^passed/) passed += $i
		if ($(i + 1) ~ /^failed/) failed += $i
		if ($(i + 1) ~ /^ignored/) skipped += $i
	}
}
/SKIPPED [a-z0-9_:]+: / { passed--; skipped++ }
END { printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped }
'
