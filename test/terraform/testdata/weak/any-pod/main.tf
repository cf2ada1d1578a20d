resource "aws_iam_role" "reader" {
  name = "reader"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = { # want: a trust policy without a condition on aws:RequestTag/kubernetes-namespace: any pod of the cluster can be given the role | a trust policy without a condition on aws:RequestTag/kubernetes-service-account: any service account of the namespace can be given the role
      Effect    = "Allow"
      Action    = ["sts:AssumeRole", "sts:TagSession"]
      Principal = { Service = "pods.eks.amazonaws.com" }
    }
  })
}
