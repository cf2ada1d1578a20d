// Command hallmark proves that what runs is what was built.
package main

func main() {}
