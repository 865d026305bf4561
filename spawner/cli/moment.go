package cli

import (
	"fmt"
	"time"
)

// momentForms are the ways to write a moment; those without a zone are local.
var momentForms = []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02"}

// parseMoment reads a moment, or how long ago it was; empty = the zero time.
func parseMoment(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	for _, form := range momentForms {
		if moment, err := time.ParseInLocation(form, text, time.Local); err == nil {
			return moment, nil
		}
	}
	return time.Time{}, fmt.Errorf("%s: %q is neither how long ago, such as 10m, nor a time, such as 2024-01-15 10:23:45 or 2024-01-15T10:23:45Z", flag, text)
}

// showMoment writes a time for people; - for none.
func showMoment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// showSpan writes a duration as people read it.
func showSpan(d time.Duration) string {
	switch {
	case d <= 0:
		return "0s"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	default:
		return d.Round(time.Second).String()
	}
}
