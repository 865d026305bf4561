package fleet

import "strconv"

// Counted writes a number with its noun, which takes an s where there is not one of it.
func Counted[N int | int32 | int64 | uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.FormatInt(int64(n), 10) + " " + noun + "s"
}

// CountedAre is Counted with the verb of what is said of them.
func CountedAre[N int | int32 | int64 | uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun + " is"
	}
	return Counted(n, noun) + " are"
}
