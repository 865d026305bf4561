// Package access says who calls and what they may do: tokens with scopes, the
// accounts of the password file by basic authentication or by a login that gives
// a token for some hours, and the slowing down of failed logins. It routes and
// answers nothing.
//
// Comparing. A token is looked up by its SHA-256, a password is compared with the
// SHA-256 of the file in constant time, and an account that does not exist is
// compared too, with the same answer: neither time nor words tell which it was.
//
// Slowing. Each failed login of an account from an address makes the next attempt
// of that pair wait, 1 s doubling to 60 s; attempts before that are refused
// unread. Other accounts and other addresses are not affected. The pairs that
// failed last are remembered, maxPairs of them. Tokens are not slowed: they are
// too long to be guessed, and a broken client must not shut out a good one.
package access
