variable "people" {
  description = "Who."
  type        = list(object({ name = string, role = optional(string) }))
  validation {
    condition     = length(var.people) > 0
    error_message = "people: somebody."
  }
}
