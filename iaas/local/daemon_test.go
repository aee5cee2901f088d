package local_test

func daemon([]string) {}
