// Package api serves the public HTTP contract and the operator's door over the
// commands and queries of package control: it decodes, calls and encodes, and
// holds no rule of its own.
//
// Every route is registered with the access it requires; every failure, from an
// unknown path to a panic, is answered with a problem document (RFC 7807).
package api
