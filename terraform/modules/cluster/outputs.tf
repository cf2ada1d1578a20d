output "name" {
  description = "Name of the cluster."
  value       = module.eks.cluster_name
}

output "arn" {
  description = "ARN of the cluster."
  value       = module.eks.cluster_arn
}

output "endpoint" {
  description = "URL of the API server."
  value       = module.eks.cluster_endpoint
}

output "certificate_authority" {
  description = "The API server's certificate authority, base64 PEM. Public."
  value       = module.eks.cluster_certificate_authority_data
}

output "secrets_key_arn" {
  description = "The KMS key of the secrets in etcd."
  value       = module.eks.kms_key_arn
}

output "node_role_name" {
  description = "The role of the nodes, which pulls images and nothing else."
  value       = module.eks.eks_managed_node_groups["system"].iam_role_name
}
