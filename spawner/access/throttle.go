package access

import (
	"container/list"
	"crypto/sha256"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	firstDelay = time.Second
	mostDelay  = 60 * time.Second
	// forgetAfter is how long after its last failure a pair begins anew.
	forgetAfter = 15 * time.Minute
	// maxPairs bounds what is remembered; the pair that failed longest ago goes first.
	maxPairs = 4096
)

// pair is an account and an address, of a fixed size whatever a caller sends.
type pair struct {
	account [sha256.Size]byte // its hash; the account need not exist
	address netip.Addr
}

func pairOf(account string, address netip.Addr) pair {
	return pair{account: sha256.Sum256([]byte(account)), address: address}
}

// host returns the address of "host:port" or "host"; of IPv6 the network of 64
// bits, which one caller has all of. What is not an address is the zero one.
func host(address string) netip.Addr {
	if name, _, err := net.SplitHostPort(address); err == nil {
		address = name
	}
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return netip.Addr{}
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is6() && !ip.IsLoopback() {
		ip = netip.PrefixFrom(ip, 64).Masked().Addr()
	}
	return ip
}

// failure is what is remembered of a pair.
type failure struct {
	pair  pair
	count int
	last  time.Time
}

// throttle slows down pairs that fail.
type throttle struct {
	most int

	mu     sync.Mutex
	byPair map[pair]*list.Element // of *failure
	recent *list.List             // the pair that failed last in front
}

func newThrottle(most int) *throttle {
	return &throttle{most: most, byPair: map[pair]*list.Element{}, recent: list.New()}
}

// slowdown says what became of an attempt that did not succeed.
type slowdown struct {
	refused bool          // it was not looked at
	delay   time.Duration // until the next attempt is looked at
}

// attempt runs check unless the pair must wait. The lock is held meanwhile, so
// that attempts made at once cannot pass before the first of them has failed;
// check takes microseconds.
func (t *throttle) attempt(p pair, check func() bool) (ok bool, wait slowdown) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	element := t.byPair[p]
	if element != nil {
		f := element.Value.(*failure)
		if left := f.last.Add(delayAfter(f.count)).Sub(now); left > 0 {
			return false, slowdown{refused: true, delay: left}
		}
	}
	if check() {
		if element != nil {
			t.forgetLocked(element)
		}
		return true, slowdown{}
	}
	return false, slowdown{delay: t.failedLocked(p, now)}
}

// failedLocked counts a failure and returns how long the pair must wait.
func (t *throttle) failedLocked(p pair, now time.Time) time.Duration {
	element := t.byPair[p]
	if element == nil {
		element = t.recent.PushFront(&failure{pair: p})
		t.byPair[p] = element
	}
	f := element.Value.(*failure)
	if now.Sub(f.last) > forgetAfter {
		f.count = 0
	}
	f.count, f.last = f.count+1, now
	t.recent.MoveToFront(element)
	for t.recent.Len() > t.most {
		t.forgetLocked(t.recent.Back())
	}
	return delayAfter(f.count)
}

func (t *throttle) forgetLocked(element *list.Element) {
	delete(t.byPair, element.Value.(*failure).pair)
	t.recent.Remove(element)
}

// delayAfter returns how long to wait after that many failures in a row.
func delayAfter(failures int) time.Duration {
	delay := firstDelay
	for ; failures > 1 && delay < mostDelay; failures-- {
		delay *= 2
	}
	return min(delay, mostDelay)
}
