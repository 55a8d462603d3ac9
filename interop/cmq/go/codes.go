// The codes of CMQ's refusals under test: the code, and the module code that the message begins with.

package main

type refusal struct{ code, module int }

var (
	receiptHandleFormat = refusal{4000, 10470}
	noRoutingKey        = refusal{4000, 10700}
	authentication      = refusal{4100, 10030}
	noSuchSecretId      = refusal{4100, 10270}
	messageTooLarge     = refusal{4400, 10230}
	invalidHandle       = refusal{4430, 10260}
	noSuchQueue         = refusal{4440, 10100}
	deletePartlyFailed  = refusal{6010, 10150}
	deleteFailed        = refusal{6020, 10290}
	noMatch             = refusal{6030, 10730}
	noMessage           = refusal{7000, 10200}
)
