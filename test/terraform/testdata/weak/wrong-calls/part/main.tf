variable "needed" {
  description = "Needed."
  type        = bool
}
