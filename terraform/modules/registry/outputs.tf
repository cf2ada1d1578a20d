output "repositories" {
  description = "For each repository its ARN and its URL, which is the image of hallmark.yaml."
  value       = { for name, r in aws_ecr_repository.this : name => { arn = r.arn, url = r.repository_url } }
}

output "key_arn" {
  description = "The KMS key of the images."
  value       = aws_kms_key.registry.arn
}
